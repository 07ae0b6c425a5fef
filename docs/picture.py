"""Draw the README's picture of the pipeline: ``python docs/picture.py``."""

from pathlib import Path

PICTURE = Path(__file__).parent / "images/pipeline.svg"
WIDE, HIGH, COLUMN, ROW, EDGE = 118, 44, 148, 82, 12

# A box: what it is called, what it does, its column and row.
BOXES = {
    "recordings": ("your audio, labels", 0, 0),
    "preprocess": ("16 kHz clips, audit", 1, 0),
    "split": ("by speaker", 1, 1),
    "encoder": ("HuBERT, WavLM, ...", 0, 2),
    "extract": ("cached embeddings", 2, 0),
    "classify": ("linear, networks", 4, 0),
    "fine-tune": ("full, LoRA", 4, 1),
    "multitask": ("emotion + gender", 1, 2),
    "cluster": ("k-means: units", 2, 2),
    "retrain": ("masked prediction", 3, 2),
    "fine-tune again": ("full, LoRA", 4, 2),
    "evaluate": ("scores, report", 5, 1),
}
ARROWS = [
    ("recordings", "preprocess"), ("preprocess", "extract"), ("preprocess", "split"),
    ("extract", "classify"), ("classify", "evaluate"), ("split", "fine-tune"),
    ("fine-tune", "evaluate"), ("encoder", "multitask"), ("multitask", "cluster"),
    ("cluster", "retrain"), ("retrain", "fine-tune again"), ("fine-tune again", "evaluate"),
    ("split", "multitask"),
]  # fmt: skip

STYLE = """
text { font: 600 13px system-ui, sans-serif; fill: #1b2430; text-anchor: middle; }
text.small { font: 11px system-ui, sans-serif; fill: #5b6675; }
rect { fill: #f4f6f9; stroke: #1f4e79; rx: 6; }
path { fill: none; stroke: #5b6675; stroke-width: 1.4; marker-end: url(#head); }
.page { fill: #ffffff; stroke: none; }
"""


def place(name: str) -> tuple[int, int]:
    """The upper left corner of a box."""
    _, column, row = BOXES[name]
    return EDGE + column * COLUMN, EDGE + row * ROW


def box(name: str) -> str:
    """A box with its two lines."""
    x, y = place(name)
    middle = x + WIDE // 2
    return (
        f'<rect x="{x}" y="{y}" width="{WIDE}" height="{HIGH}"/>'
        f'<text x="{middle}" y="{y + 18}">{name}</text>'
        f'<text class="small" x="{middle}" y="{y + 34}">{BOXES[name][0]}</text>'
    )


def arrow(start: str, end: str) -> str:
    """From the right side to the left one, or down within a column."""
    (x, y), (u, v) = place(start), place(end)
    if x == u:
        return f'<path d="M{x + WIDE // 2} {y + HIGH} L{u + WIDE // 2} {v - 5}"/>'
    a, b, c, d = x + WIDE, y + HIGH // 2, u - 5, v + HIGH // 2
    return f'<path d="M{a} {b} C{a + 20} {b} {c - 20} {d} {c} {d}"/>'


def main() -> None:
    """Write the picture."""
    wide = 2 * EDGE + 5 * COLUMN + WIDE
    high = 2 * EDGE + 2 * ROW + HIGH
    head = '<marker id="head" markerWidth="7" markerHeight="7" refX="5" refY="3" orient="auto">'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}">',
        f"<style>{STYLE}</style>",
        f'<defs>{head}<path d="M0 0 L6 3 L0 6 Z" style="fill:#5b6675;stroke:none;marker-end:none"/>'
        "</marker></defs>",
        f'<rect class="page" width="{wide}" height="{high}"/>',
        *(arrow(*pair) for pair in ARROWS),
        *(box(name) for name in BOXES),
        "</svg>",
    ]
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text("\n".join(parts) + "\n", "utf-8")


if __name__ == "__main__":
    main()
