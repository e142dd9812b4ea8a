"""Batches read ahead by other processes: the same stream for any number of them.

The readers leave Ctrl-C, SIGTERM and SIGHUP to the trainer, which still needs them for the step in
hand when a batch system signals the whole process group. They end with the trainer, however it
ends. No wait for them is endless.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing.reduction import ForkingPickler
from typing import Any

import cv2
import torch
from torch.utils.data import DataLoader

from xdistill.manifests.errors import XDistillError
from xdistill.manifests.progress import usable_cores
from xdistill.manifests.stopping import SIGNALS
from xdistill.train.data.dataset import Batch, SampleKey, TripletDataset, collate
from xdistill.train.recipe.recipe import Recipe

SHARED_MEMORY = "/dev/shm"
"""Where PyTorch hands tensors from one process to another."""
AHEAD = 2
"""Batches that each reader keeps ready (PyTorch's default)."""
PATIENCE_S = 300
"""Longest wait for a batch. A network disk may be slow; a lost batch never comes."""
TRAINER_CHECK_S = 1.0
"""Time after which a reader notices that its trainer is gone."""
TORCH_REPORTS = ("DataLoader worker", "DataLoader timed out", "Pin memory thread")
"""How PyTorch's reports on its processes begin; errors within them begin otherwise."""


class ReaderError(XDistillError, RuntimeError):
    """The processes that read batches cannot start, died, or do not answer."""


def read_batches(
    dataset: TripletDataset, keys: Iterator[list[SampleKey]], *, device: torch.device
) -> Generator[Batch]:
    """Read batches in other processes and move them to the device.

    Raises:
        XDistillError: A sample cannot be read.
        ReaderError: A reader cannot start, died, or does not answer.
    """
    workers = _readers(dataset.recipe)
    begin = _send_by_value if shared_memory_is_short(dataset.recipe) else _initialise
    loader: DataLoader[Batch | XDistillError] = DataLoader(
        dataset,
        batch_sampler=keys,
        num_workers=workers,
        collate_fn=_collate,
        worker_init_fn=partial(begin, trainer=os.getpid()),
        # Another way to start them would import everything again.
        multiprocessing_context="fork" if workers else None,
        prefetch_factor=AHEAD if workers else None,
        timeout=PATIENCE_S if workers else 0,
        pin_memory=device.type == "cuda",
        # Its own generator: the loader must not draw from the global one.
        generator=torch.Generator(),
    )
    with readers_reported():
        batches = _started(loader)
        try:
            for batch in batches:
                if isinstance(batch, XDistillError):
                    raise batch
                yield batch.to(device)
        finally:
            if workers:
                # PyTorch's own way to end them. Waiting for the garbage collector is not enough:
                # the traceback of an error keeps the iterator alive.
                batches._shutdown_workers()


def _readers(recipe: Recipe) -> int:
    return min(recipe.num_workers, usable_cores())


def _started(loader: "DataLoader[Any]") -> Any:
    """The loader's iterator; its processes start with the signals blocked, until they ignore them.

    Raises:
        ReaderError: The system gives them no semaphores or no memory.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        if loader.num_workers:
            # What PyTorch makes first. Where it fails there, PyTorch adds a warning of its own.
            multiprocessing.Lock()
        return iter(loader)
    except OSError as error:
        raise ReaderError(
            f"the processes that read images cannot start: {error.strerror}",
            expected=f"some room in {SHARED_MEMORY}, and memory for {loader.num_workers} processes",
            remedy="read in the training process: --set num_workers=0",
        ) from error
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def readers_reported() -> Iterator[None]:
    """Report readers that died or do not answer; PyTorch raises it in whatever runs at the time.

    Raises:
        ReaderError: PyTorch reported it.
    """
    try:
        yield
    except (RuntimeError, ConnectionError, EOFError) as error:
        text = str(error)
        if isinstance(error, RuntimeError) and not text.startswith(TORCH_REPORTS):
            raise
        silent = "timed out" in text
        raise ReaderError(
            f"no batch came for {PATIENCE_S} s from the processes that read images"
            if silent
            else f"a process that reads images died: {text}",
            expected=f"a disk that answers, and room in {SHARED_MEMORY}"
            if silent
            else "processes that live as long as the training; the system ends one where memory "
            "runs out",
            remedy="continue with --resume, with fewer of them (--set num_workers=1) or none "
            "(--set num_workers=0)",
        ) from error


def shared_memory_is_short(recipe: Recipe) -> bool:
    """Whether the batches under way would not fit into the system's shared memory.

    What does not fit is lost without a word, and the trainer would wait for it.
    """
    return free_shared_memory() < needed_shared_memory(recipe)


def free_shared_memory() -> int:
    """Bytes; none where the system has no such memory."""
    try:
        found = os.statvfs(SHARED_MEMORY)
    except OSError:
        return 0
    return found.f_bavail * found.f_frsize


def needed_shared_memory(recipe: Recipe) -> int:
    """Bytes of the batches that are ready, and of the one that is trained on; 0 without readers."""
    readers = _readers(recipe)
    triplets_and_jittered, channels, labels = 2 * 3, 3, 1
    pixels = recipe.batch_size * recipe.height * recipe.width
    batch = pixels * (triplets_and_jittered * channels + labels)
    return batch * (AHEAD * readers + 1) if readers else 0


def _collate(samples: Sequence[Batch | XDistillError]) -> Batch | XDistillError:
    read = [sample for sample in samples if isinstance(sample, Batch)]
    errors = [sample for sample in samples if not isinstance(sample, Batch)]
    return errors[0] if errors else collate(read)


def _initialise(number: int, *, trainer: int) -> None:
    """Begin as a reader: one thread, deaf to signals, and gone once the trainer is."""
    cv2.setNumThreads(0)
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(trainer,), daemon=True).start()
    signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGTERM})


def _send_by_value(number: int, *, trainer: int) -> None:
    """Begin as a reader whose tensors go through the pipe itself, not through shared memory."""
    ForkingPickler.register(torch.Tensor, _by_value)
    _initialise(number, trainer=trainer)


def _by_value(tensor: torch.Tensor) -> tuple[Any, tuple[Any]]:
    return torch.from_numpy, (tensor.numpy(),)


def _end_with(trainer: int) -> None:
    """End this process when the trainer says so or is gone; other senders of SIGTERM are unheard.

    SIGTERM stays blocked in every thread, so that it arrives here alone, with its sender.
    """
    while os.getppid() == trainer:
        told = signal.sigtimedwait({signal.SIGTERM}, TRAINER_CHECK_S)
        if told is not None and told.si_pid == trainer:
            break
    os._exit(0)
