"""Pictures that ship with the package; sources and licences are in ``README.md``."""

from pathlib import Path

__all__ = ["SAMPLE"]

SAMPLE = Path(__file__).parent / "raccoon.jpg"
"""A photograph of 1024x768 pixels, public domain."""
