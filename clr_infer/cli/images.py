"""``protect``, ``locate``, ``recover`` and ``attack``."""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UsageError
from ..image_io import ALPHA_FORMATS, LoadedImage, encode_image, format_for, is_lossy, write_bytes
from ..settings import KEY_VARIABLE, Settings, key_of_environment
from .inputs import STANDARD_STREAM, expand_inputs, for_each, load_input, output_path, shown
from .server_options import add_server_options, open_served

__all__ = ["add_commands"]

_SUFFIX_OF = {"png": ".png", "jpeg": ".jpg", "webp": ".webp", "tiff": ".tif", "bmp": ".bmp"}


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add the commands that work on images."""
    protect = _command(commands, "protect", _protect, "add the invisible protection to images")
    protect.add_argument(
        "--strength",
        type=float,
        metavar="DB",
        help="PSNR of the protected image, 30 to 50; lower is stronger (default: as trained)",
    )
    protect.add_argument(
        "--refine",
        type=int,
        default=0,
        metavar="STEPS",
        help="take the time to improve the payload of each image, for a better recovery: 40 steps "
        "take some 15 seconds on two cores; needs PyTorch",
    )
    protect.add_argument(
        "--copy",
        action="store_true",
        help="also write a copy of the original into the lowest bits: crops of half of each side "
        "and more that stay lossless, as PNG does, show it sharp; costs 0.3 dB at the default "
        f"strength, and some time. With a random secret in {KEY_VARIABLE} only who has it can "
        "write what is read (with --url the server's)",
    )
    _add_output(protect, required=True)
    _add_format(protect)

    locate = _command(
        commands, "locate", _locate, "say whether images are protected, and what was cropped"
    )
    locate.add_argument("--json", action="store_true", help="one JSON object a line")
    _add_turned(locate)

    recover = _command(commands, "recover", _recover, "show the whole original of cropped images")
    _add_turned(recover)
    _add_output(recover, required=True)
    _add_format(recover)
    recover.add_argument(
        "--no-extras",
        action="store_true",
        help="write no mask, no overlay and no picture of the uncertainty",
    )

    attack = _command(
        commands, "attack", _attack, "crop and post-process images with real codecs", networks=False
    )
    attack.add_argument(
        "--steps",
        required=True,
        help='words such as "crop=0.1,0.2,0.9,0.95 resize=0.5 gaussian=5 median=3 noise=0.02 '
        "tone=0.05,1.1 rotate=2 mirror border=0.05 occlude=0.1 webp=80 avif=60 jpeg=80 "
        'jpeg=90@4:4:4", done in this order',
    )
    attack.add_argument("--seed", type=int, default=0, help="of the noise (default: 0)")
    _add_output(attack, required=True)
    _add_format(attack)


def _command(
    commands: argparse._SubParsersAction, name: str, run: Any, text: str, networks: bool = True
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(run=run)
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="files, folders, globs or -")
    parser.add_argument("--recursive", action="store_true", help="search folders all the way down")
    parser.add_argument(
        "--frame", type=int, metavar="N", help="which frame of an animation, from 0"
    )
    parser.add_argument(
        "--max-pixels", type=int, metavar="N", help="accept images of up to N pixels"
    )
    if networks:
        add_networks(parser)
    return parser


def add_networks(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose networks and what runs them."""
    parser.add_argument(
        "--runtime",
        default="auto",
        help="auto, onnxruntime, openvino, torch, tensorrt, tensorrt-rtx or onnxruntime-cuda",
    )
    parser.add_argument("--weights", type=Path, metavar="DIR", help="weights other than our own")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: all cores)")
    add_server_options(parser)


def _add_turned(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--turned",
        action="store_true",
        help="also look for pictures that were mirrored, laid on a side or set crooked by up to "
        "ten degrees (one or two are seen without it): a second or two an image",
    )


def _add_output(parser: argparse.ArgumentParser, required: bool) -> None:
    parser.add_argument(
        "-o", "--output", required=required, metavar="OUT", help="a file, a folder, or - for one"
    )
    parser.add_argument("--force", action="store_true", help="replace files that exist")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def _add_format(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", choices=sorted(_SUFFIX_OF), help="default: png, or by OUT")
    parser.add_argument("--quality", type=int, metavar="Q", help="1-100, for jpeg and webp")
    parser.add_argument("--strip", action="store_true", help="drop EXIF and the colour profile")


def session_settings(args: argparse.Namespace) -> Settings:
    """The settings that the options and the environment ask for."""
    limits = {"max_pixels": args.max_pixels} if args.max_pixels else {}
    return Settings(**limits, copy_key=key_of_environment())


def open_session(  # noqa: ANN201
    args: argparse.Namespace, settings: Settings, networks_only: bool = False
):
    """The session that the options ask for: here, or a client with the same methods.

    With ``networks_only`` it is a session in any case, and a server runs its networks alone.
    """
    from ..session import load

    if args.url:
        return open_served(args, settings, networks_only)
    return load(args.runtime, weights=args.weights, threads=args.threads, settings=settings)


class _Writer:
    """Writes results of one command where its options say."""

    def __init__(self, args: argparse.Namespace, words: list[str], lossy_warning: bool) -> None:
        self.args, count = args, len(words)
        self.to_stdout = args.output == STANDARD_STREAM
        if self.to_stdout and (count > 1 or args.json):
            raise UsageError("-o - writes one image to standard output: one input, no --json")
        out = Path(args.output)
        if count > 1 and out.suffix and not out.is_dir():
            raise UsageError(f"{count} inputs need a folder, not the file {out}")
        named = format_for(out).lower() if out.suffix and not self.to_stdout else None
        if args.format and named and not out.is_dir() and named != args.format:
            raise UsageError(f"--format {args.format} does not go with the name {out}")
        self.format = args.format or (None if out.is_dir() else named) or "png"
        self.lossy = is_lossy(self.format.upper(), args.quality)
        if self.lossy:
            if lossy_warning:
                print(
                    f"warning: {self.format} is lossy and weakens the protection; png keeps it",
                    file=sys.stderr,
                )
        elif args.quality is not None and self.format != "webp":
            raise UsageError(f"--quality is for jpeg and webp, not {self.format}")
        self._refuse_shared_names(words)

    def _refuse_shared_names(self, words: list[str]) -> None:
        first: dict[Path, str] = {}
        for word in () if self.to_stdout else words:
            other = first.setdefault(self.path(word), word)
            if other != word:
                raise UsageError(
                    f"{shown(other)} and {shown(word)} would both be written to "
                    f"{shown(str(self.path(word)))}: give them other names, or run them one by one"
                )

    def path(self, word: str) -> Path:
        """Where the result of an input goes."""
        return output_path(Path(self.args.output), word, _SUFFIX_OF[self.format])

    def write(self, word: str, pixels: np.ndarray, source: LoadedImage, alpha: bool) -> str:
        """Encode and write a result; returns its path."""
        for text in source.warnings:
            print(f"{shown(word)}: warning: {text}", file=sys.stderr)
        if alpha and source.alpha is not None and self.format.upper() not in ALPHA_FORMATS:
            print(f"{shown(word)}: warning: {self.format} holds no alpha", file=sys.stderr)
        content = encode_image(
            pixels,
            format=self.format.upper(),
            quality=self.args.quality,
            alpha=source.alpha if alpha else None,
            exif=None if self.args.strip else source.exif,
            icc_profile=None if self.args.strip else source.icc_profile,
        )
        if self.to_stdout:
            sys.stdout.buffer.write(content)
            return STANDARD_STREAM
        path = self.path(word)
        write_bytes(path, content, force=self.args.force)
        return str(path)


def _protect(args: argparse.Namespace) -> int:
    words = expand_inputs(args.inputs, args.recursive)
    settings = session_settings(args)
    writer = _Writer(args, words, lossy_warning=True)
    if args.url and args.refine:
        raise UsageError("--url goes without --refine: servers take the payload as it is made")
    if args.copy and writer.lossy:
        raise UsageError(f"--copy goes with lossless formats: {writer.format} would not keep it")
    session = open_session(args, settings)
    choices = {"refine": args.refine} if args.refine else {}

    def one(word: str) -> dict[str, Any]:
        source = load_input(word, settings, args.frame)
        result = session.protect(source.pixels, psnr_db=args.strength, copy=args.copy, **choices)
        path = writer.write(word, result.image, source, alpha=True)
        if not args.json:
            more = f", with a copy of {result.copy_psnr_db:.1f} dB" if result.copy_psnr_db else ""
            print(f"{path}: protected at {result.psnr_db:.2f} dB{more}", file=sys.stderr)
        return {
            "psnr_db": round(result.psnr_db, 4),
            "copy_psnr_db": None if result.copy_psnr_db is None else round(result.copy_psnr_db, 4),
            "outputs": {"protected": path},
            "timings_ms": result.timings_ms,
        }

    return for_each(words, one, args.json, "protect")


def _locate(args: argparse.Namespace) -> int:
    words = expand_inputs(args.inputs, args.recursive)
    settings = session_settings(args)
    session = open_session(args, settings)

    def one(word: str) -> dict[str, Any]:
        pixels = load_input(word, settings, args.frame).pixels
        located = session.locate(pixels, turned=args.turned)
        if not args.json:
            print(f"{shown(word)}: {_verdict(located, args.turned)}")
        return {**located.as_dict(), "outputs": {}, "timings_ms": located.timings_ms}

    return for_each(words, one, args.json, "locate")


def _recover(args: argparse.Namespace) -> int:
    words = expand_inputs(args.inputs, args.recursive)
    settings = session_settings(args)
    writer = _Writer(args, words, lossy_warning=False)
    session = open_session(args, settings)

    def one(word: str) -> dict[str, Any]:
        source = load_input(word, settings, args.frame)
        result = session.recover(source.pixels, turned=args.turned)
        outputs: dict[str, str] = {}
        if result.image is not None:
            outputs["recovered"] = writer.write(word, result.image, source, alpha=False)
            if not args.no_extras and not writer.to_stdout:
                outputs.update(_write_extras(writer.path(word), result, args.force))
        expected = result.expected_psnr_db
        if not args.json:
            more = "" if expected is None else f"; expect {expected:.1f} dB of the rest"
            verdict = _verdict(result.located, args.turned)
            print(f"{shown(word)}: {verdict}{more}", file=sys.stderr)
        return {**result.as_dict(), "outputs": outputs, "timings_ms": result.timings_ms}

    return for_each(words, one, args.json, "recover")


def _write_extras(path: Path, result: Any, force: bool) -> dict[str, str]:
    """Write the mask, the overlay and the uncertainty in colours beside a recovered image."""
    from ..sheet import heat, overlay

    located = result.located
    drawn = overlay(result.image, located.box_px, altered_px=located.altered_px)
    mask = np.repeat(located.mask[..., None], 3, axis=2)
    unsure = heat(result.uncertainty, result.image, located.box_px)
    written = {}
    for name, pixels in (("mask", mask), ("overlay", drawn), ("uncertainty", unsure)):
        beside = path.with_name(f"{path.stem}.{name}.png")
        write_bytes(beside, encode_image(pixels, format="PNG"), force=force)
        written[name] = str(beside)
    return written


def _verdict(located: Any, turned: bool) -> str:
    if not located.protected:
        said = f"not protected (confidence of protection {located.confidence:.3f})"
        return said if turned else f"{said}; --turned also looks for mirrored and turned pictures"
    box = ", ".join(f"{v:.4f}" for v in located.crop_box)
    width, height = located.canvas_px
    x0, y0, x1, y1 = located.picture_px
    turn = located.turn
    done = ["mirrored"] if turn.mirrored else []
    done += [f"rotated by {turn.degrees:g} degrees"] if turn.degrees else []
    set_upright = f", {' and '.join(done)}," if done else ""
    return (
        f"protected (confidence {located.confidence:.3f}); {x1 - x0}x{y1 - y0} pixels from "
        f"({x0}, {y0}){set_upright} are crop box [{box}] of an original of {width}x{height}; "
        f"{100 * located.crop_box.area:.1f} % of it was kept"
        f"{', as a copy in it says' if located.by_copy else ''}{_altered(located)}"
    )


def _altered(located: Any) -> str:
    """How much of what was received does not show the original any more."""
    received = located.box_px
    size = (received[2] - received[0]) * (received[3] - received[1])
    share = 1.0 - np.count_nonzero(located.mask) / size
    return f"; {100 * share:.1f} % of what was received was altered" if share else ""


def _attack(args: argparse.Namespace) -> int:
    from ..attacks.real import apply
    from ..attacks.steps import describe, parse_chain

    words = expand_inputs(args.inputs, args.recursive)
    settings = session_settings(args)
    chain = parse_chain(args.steps)
    writer = _Writer(args, words, lossy_warning=False)

    def one(word: str) -> dict[str, Any]:
        source = load_input(word, settings, args.frame)
        attacked = apply(source.pixels, chain, np.random.default_rng(args.seed))
        path = writer.write(word, attacked, source, alpha=False)
        if not args.json:
            print(f"{path}: {attacked.shape[1]}x{attacked.shape[0]}", file=sys.stderr)
        return {"steps": describe(chain), "outputs": {"attacked": path}}

    return for_each(words, one, args.json, "attack")
