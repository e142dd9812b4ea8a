"""Numbers of the textures of solids, which ``shade`` hands to painters."""

PLAIN = 0
"""Flat colour with a faint mottle: textureless walls, cloth, skin."""
FACADE = 1
"""House front with rows of windows; params: storey height, window pitch, window share, style."""
TILES = 2
"""Pitched roof."""
MASONRY = 3
"""Brick or block wall; params: brick length, brick height, contrast."""
PLANKS = 4
"""Fence boards; params: board width."""
FOLIAGE = 5
"""Crown of leaves with gaps."""
HEDGE = 6
"""Leaves without gaps."""
BARK = 7
METAL = 8
"""Lightly streaked and slightly glossy."""
PAINT = 9
"""Car paint: flat, glossy, with lamps and plates; params: half length, lamp height."""
CABIN = 10
"""Car windows between painted pillars; params: roof height, pillar width."""
WHEEL = 11
BANDED = 12
"""Bus or tram side: paint, a band of windows, a stripe; params: band low, band high, pitch."""
SIGN = 13
"""Traffic sign; params: style (0 disc, 1 square, 2 board), brightness of the figure."""
LAMPS = 14
"""Traffic light; params: which lamp is lit (0-2)."""
GLOW = 16
"""Shines by itself."""
CLOTH = 17
"""Folds and patches."""
MESH = 18
"""Metal railing: dark bars before a lighter ground; params: bar pitch."""

PLAIN_STYLE, BRICK_STYLE = 0.0, 1.0
"""Styles of FACADE."""
