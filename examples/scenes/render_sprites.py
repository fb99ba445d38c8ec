"""Render the sprite sheet of the generated scenes from the Noto Color Emoji font, once.

    python examples/scenes/render_sprites.py NotoColorEmoji.ttf extremal_jax/data/sprites.png

The sheet is a row-major grid of square cells, one per class, in the order of `extremal_jax.data.scenes.CLASSES`; it is shipped, so that
generating scenes needs no font. Noto Color Emoji is licensed under the SIL Open Font License 1.1 (Debian: fonts-noto-color-emoji).
"""

from __future__ import annotations

import argparse

from PIL import Image, ImageDraw, ImageFont

from extremal_jax.data.scenes import CELL, CLASSES, COLUMNS

CHARACTERS = dict(
    dog="🐶",
    wolf="🐺",
    fox="🦊",
    cat="🐱",
    horse="🐎",
    bird="🐦",
    fish="🐟",
    car="🚗",
    bus="🚌",
    truck="🚚",
    bicycle="🚲",
    airplane="✈️",
    boat="⛵",
    tree="🌳",
    flower="🌻",
    apple="🍎",
    tomato="🍅",
    peach="🍑",
    pizza="🍕",
    umbrella="☂️",
    guitar="🎸",
    clock="⏰",
    book="📕",
    house="🏠",
    ball="⚽",
    key="🔑",
)
BITMAP_SIZE = 109  # the only size, in pixels per em, at which the font holds its bitmaps


def sprite(character: str, font: ImageFont.FreeTypeFont) -> Image.Image:
    """One character, cropped to what is visible and centred in a cell."""
    canvas = Image.new("RGBA", (2 * BITMAP_SIZE, 2 * BITMAP_SIZE))
    ImageDraw.Draw(canvas).text((BITMAP_SIZE // 2, BITMAP_SIZE // 2), character, font=font, embedded_color=True)
    visible = canvas.crop(canvas.getbbox())
    visible.thumbnail((CELL, CELL), Image.Resampling.LANCZOS)
    cell = Image.new("RGBA", (CELL, CELL))
    cell.paste(visible, ((CELL - visible.width) // 2, (CELL - visible.height) // 2))
    return cell


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("font", help="path to NotoColorEmoji.ttf")
    parser.add_argument("sheet", help="the PNG file to write")
    options = parser.parse_args()
    font = ImageFont.truetype(options.font, BITMAP_SIZE)
    rows = -(-len(CLASSES) // COLUMNS)
    sheet = Image.new("RGBA", (COLUMNS * CELL, rows * CELL))
    for index, name in enumerate(CLASSES):
        sheet.paste(sprite(CHARACTERS[name], font), (index % COLUMNS * CELL, index // COLUMNS * CELL))
    sheet.save(options.sheet, optimize=True)


if __name__ == "__main__":
    main()
