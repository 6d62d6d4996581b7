"""The model card: what anyone should know of a folder of weights before using it."""

import json
from pathlib import Path

from ..evaluate.tables import table
from ..image_files import write_bytes
from ..weights import MANIFEST

__all__ = ["model_card", "write_model_card"]

_COLUMNS = (
    "steps",
    "minutes_spent",
    "size",
    "batch",
    "width",
    "learning_rate",
    "psnr_start_db",
    "psnr_db",
    "alignment",
    "seed",
)

_TEXT = """# Model card

Protect, align, localize, recover, FG-JPEG and QF-predictor networks of `clr_infer`.

| | |
|---|---|
| date | {date} |
| frame | {size} x {size} pixels |
| strength | trained at {psnr_db:g} dB, protects at {default_psnr_db:g} dB unless told otherwise |
| steps | {steps:,} |
| hardware | {hardware} |
| data | {data} |
| calibration | {calibration} |
| licence of the weights | Apache-2.0 |

Training, one row a run, each starting from the weights of the one before:

{training}

The protect, align and recover networks are convolutional and trained together at the training
size above; they run at the frame size. Where a part is named, only that was trained, and the steps
are not in the sum. The localize network has no learned weights: it is a
matched filter on the synchronisation template, and only its confidence is calibrated.

## Intended use
Protecting one's own photographs, so that a crop of them can later be located and what was cut
away be shown. Reconstructed pixels are the network's reading of a weak signal: the mask marks
them, the uncertainty says how far off each may be, and they are no evidence of detail.

## Known limits
- Kept sides under 0.5 fold incompletely. Pictures that lie crooked by a degree or two are set
  straight and most mirrored ones are found; turned ones, and crooked ones by up to ten degrees,
  have to be looked for; other angles, perspective and generative edits are not handled. A plain
  border is cut off where a fragment is not found with it or the recovered original does not show
  it, anything else around a fragment never.
- The synchronisation template is fixed: whoever knows it can remove or forge it.
- Images smaller than the frame carry the signal at a finer scale, where JPEG does more harm.
- Gray images come out in colour: part of the template lies on chroma.

## Measured quality
{quality}
"""


def model_card(manifest: dict, quality: str) -> str:
    """Write a model card from the facts of a manifest and a table of measured quality."""
    facts = dict(manifest)
    found = manifest["calibration"]
    facts["calibration"] = ", ".join(f"{k.replace('_', ' ')} {_plain(v)}" for k, v in found.items())
    rows = [
        [*(_plain(run[column]) for column in _COLUMNS), run.get("part", "all")]
        for run in manifest["training"]
    ]
    header = [*(column.replace("_", " ") for column in _COLUMNS), "part"]
    facts["training"] = table(header, rows)
    facts["data"] = manifest["data"] or "not stated"
    return _TEXT.format(**facts, quality=quality)


def _plain(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def write_model_card(folder: Path, quality: str) -> None:
    """Write ``MODEL_CARD.md`` beside the manifest of a folder of weights.

    Raises:
        OutputError: it cannot be written.
    """
    manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
    card = model_card(manifest, quality)
    write_bytes(folder / "MODEL_CARD.md", card.encode(), force=True)
