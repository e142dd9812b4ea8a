"""The report's style sheet."""

STYLE = """
:root { color-scheme: light; --ink: #1e293b; --soft: #64748b; --line: #e2e8f0; }
* { box-sizing: border-box; }
body { margin: 0; background: #f1f5f9; color: var(--ink);
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 28px 20px 60px; }
header { padding: 6px 4px 14px; }
h1 { margin: 0; font-size: 30px; letter-spacing: -0.02em; }
h2 { margin: 0 0 14px; font-size: 19px; letter-spacing: -0.01em; }
h3 { margin: 16px 0 6px; font-size: 12px; font-weight: 500; color: var(--soft);
  font-family: ui-monospace, monospace; }
.lead { margin: 6px 0 2px; max-width: 860px; }
.facts, .note { color: var(--soft); font-size: 13px; }
section { background: #fff; border: 1px solid var(--line); border-radius: 10px;
  padding: 20px 22px; margin: 16px 0; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(160px, 1fr)); gap: 12px;
  margin-bottom: 18px; }
.cards div { border: 1px solid var(--line); border-radius: 8px; padding: 12px 14px; }
.cards b { display: block; font-size: 25px; line-height: 1.2; font-variant-numeric: tabular-nums; }
.cards span { color: var(--soft); font-size: 12.5px; }
.good { color: #2b8a3e; } .bad { color: #c92a2a; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
table.narrow { width: auto; min-width: 260px; }
th, td { padding: 7px 10px; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
th { font-size: 12.5px; color: var(--soft); font-weight: 600; }
th:first-child, td:first-child { text-align: left; }
tr.baseline td, tr.distilled td, tr.change td { font-weight: 600; }
tr.change td { border-top: 2px solid var(--line); }
td small { display: block; font-weight: 400; }
.panels { display: grid; grid-template-columns: repeat(3, 1fr); gap: 10px; }
figure { margin: 0; }
figure img { width: 100%; display: block; border-radius: 5px; image-rendering: pixelated; }
figcaption { font-size: 12.5px; color: var(--soft); padding-top: 2px; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 14px; font-size: 12.5px; margin-top: 8px; }
.legend b { color: var(--soft); font-weight: 600; }
.legend i { display: inline-block; width: 11px; height: 11px; border-radius: 3px;
  margin-right: 5px; vertical-align: -1px; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(340px, 1fr)); gap: 18px;
  align-items: start; }
svg { width: 100%; height: auto; display: block; }
svg text { font-size: 11px; fill: #64748b; } svg .grid { stroke: #e2e8f0; }
.failure { background: #fff5f5; border: 1px solid #ffc9c9; color: #c92a2a; font-weight: 600;
  padding: 10px 14px; border-radius: 8px; }
pre { background: #0f172a; color: #e2e8f0; padding: 14px 16px; border-radius: 8px; overflow-x: auto;
  font: 12.5px/1.6 ui-monospace, SFMono-Regular, Menlo, monospace; }
li { margin: 3px 0; }
@media (max-width: 700px) { .panels { grid-template-columns: 1fr; } }
"""
