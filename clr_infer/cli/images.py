"""``protect``, ``locate``, ``recover`` and ``attack``."""

import argparse
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ..errors import UsageError
from ..image_io import encode_image, write_bytes
from ..settings import KEY_VARIABLE, Settings, key_of_environment
from .inputs import STANDARD_STREAM, expand_inputs, for_each, load_input, shown
from .outputs import Writer, add_format, add_output
from .server_options import add_server_options, open_served

__all__ = ["add_commands", "add_networks", "check_numbers", "open_session", "session_settings"]

_DAY_S = 86400
_EXTRAS = ("mask", "overlay", "uncertainty")


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add the commands that work on images."""
    protect = _command(commands, "protect", _protect, "add the invisible protection to images")
    protect.add_argument(
        "--strength",
        type=float,
        metavar="DB",
        help="PSNR of the protected image, 30 to 50; lower is stronger (default: that of the "
        "weights, 40 for those in the package)",
    )
    protect.add_argument(
        "--refine",
        type=int,
        default=0,
        metavar="STEPS",
        help="take the time to improve the payload of each image, so that it is seen less, found "
        "more surely and, after nearly anything, recovered better: half a second a step on a core "
        "that multiplies in bfloat16, 80 steps bring most of it without JPEG, 320 are what is "
        "published; needs PyTorch, or a server that was set up with --refine",
    )
    protect.add_argument(
        "--copy",
        action="store_true",
        help="also write a copy of the original into the lowest bits: crops of half of each side "
        "and more that stay lossless, as PNG does, show it sharp; costs 0.3 dB at the default "
        f"strength, and some time. With a random secret in {KEY_VARIABLE} only who has it can "
        "write what is read (with --url the server's)",
    )
    add_output(protect)
    add_format(protect)

    locate = _command(
        commands, "locate", _locate, "say whether images are protected, and what was cropped"
    )
    locate.add_argument("--json", action="store_true", help="one JSON object a line")
    _add_turned(locate)

    recover = _command(commands, "recover", _recover, "show the whole original of cropped images")
    _add_turned(recover)
    add_output(recover)
    add_format(recover)
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
        'jpeg=90@4:4:4", done in this order; rotate keeps the size, with black corners',
    )
    attack.add_argument("--seed", type=int, default=0, help="of the noise (default: 0)")
    add_output(attack)
    add_format(attack)


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
        "--max-pixels",
        type=int,
        metavar="N",
        help=f"accept images of up to N pixels (default: {Settings.max_pixels:,})",
    )
    if networks:
        add_networks(parser)
    return parser


def add_networks(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose networks and what runs them."""
    parser.add_argument(
        "--runtime",
        default="auto",
        help="auto (default: the fastest that works here; on a CPU OpenVINO's int8 if it and "
        "the processor have it), onnxruntime, openvino, torch (+compile, +bf16, ...), tensorrt, "
        "tensorrt-rtx, onnxruntime-cuda or onnxruntime-tensorrt; what works here: clr-infer env",
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


def check_numbers(args: argparse.Namespace) -> None:
    """Refuse numbers that no image could be worked on with.

    Raises:
        UsageError: an option is out of range.
    """
    from ..pipeline import PSNR_DB_RANGE
    from ..refine import REFINE_STEPS_MAX

    ranges = {
        "strength": PSNR_DB_RANGE,
        "quality": (1, 100),
        "refine": (0, REFINE_STEPS_MAX),
        "frame": (0, math.inf),
        "max_pixels": (1, math.inf),
        **dict.fromkeys(("drain", "golden_interval", "golden_timeout"), (0, _DAY_S)),
        "seed": (0, math.inf),
    }
    for name, (low, high) in ranges.items():
        value = getattr(args, name, None)
        if value is not None and not low <= value <= high:
            limits = f"from {low:g} to {high:g}" if high < math.inf else f"at least {low:g}"
            raise UsageError(f"--{name.replace('_', '-')} must be {limits}, not {value:g}")


def session_settings(args: argparse.Namespace) -> Settings:
    """The settings that the options and the environment ask for."""
    check_numbers(args)
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


def _protect(args: argparse.Namespace) -> int:
    words = expand_inputs(args.inputs, args.recursive)
    settings = session_settings(args)
    writer = Writer(args, words, lossy_warning=True)
    if args.copy and writer.lossy:
        raise UsageError(f"--copy goes with lossless formats: {writer.format} would not keep it")
    how = {"psnr_db": args.strength, "refine": args.refine, "copy": args.copy}

    def one(word: str) -> dict[str, Any]:
        source = load_input(word, settings, args.frame)
        if args.refine and not args.url:
            with _step_bar(word, args.refine) as bar:
                result = session.protect(source.pixels, **how, progress=lambda _: bar.update())
        else:
            result = session.protect(source.pixels, **how)
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

    with open_session(args, settings) as session:
        return for_each(words, one, args.json, "protect")


def _step_bar(word: str, steps: int) -> tqdm:
    hide = not sys.stderr.isatty()
    return tqdm(total=steps, desc=shown(word), unit="step", leave=False, disable=hide)


def _locate(args: argparse.Namespace) -> int:
    words = expand_inputs(args.inputs, args.recursive)
    settings = session_settings(args)

    def one(word: str) -> dict[str, Any]:
        pixels = load_input(word, settings, args.frame).pixels
        located = session.locate(pixels, turned=args.turned)
        if not args.json:
            print(f"{shown(word)}: {_verdict(located, args.turned)}")
        return {**located.as_dict(), "outputs": {}, "timings_ms": located.timings_ms}

    with open_session(args, settings) as session:
        return for_each(words, one, args.json, "locate")


def _recover(args: argparse.Namespace) -> int:
    words = expand_inputs(args.inputs, args.recursive)
    settings = session_settings(args)
    beside = () if args.no_extras or args.output == STANDARD_STREAM else _EXTRAS
    writer = Writer(args, words, lossy_warning=False, beside=beside)

    def one(word: str) -> dict[str, Any]:
        source = load_input(word, settings, args.frame)
        result = session.recover(source.pixels, turned=args.turned)
        outputs: dict[str, str] = {}
        if result.image is not None:
            outputs["recovered"] = writer.write(word, result.image, source, alpha=False)
            if beside:
                outputs |= _write_extras(writer, word, result)
        expected = result.expected_psnr_db
        if not args.json:
            more = "" if expected is None else f"; expect {expected:.1f} dB of the rest"
            verdict = _verdict(result.located, args.turned)
            print(f"{shown(word)}: {verdict}{more}", file=sys.stderr)
        return {**result.as_dict(), "outputs": outputs, "timings_ms": result.timings_ms}

    with open_session(args, settings) as session:
        return for_each(words, one, args.json, "recover")


def _write_extras(writer: Writer, word: str, result: Any) -> dict[str, str]:
    """Write the mask, the overlay and the uncertainty in colours beside a recovered image."""
    from ..sheet import heat, overlay

    located = result.located
    drawn = overlay(result.image, located.box_px, altered_px=located.altered_px)
    mask = np.repeat(located.mask[..., None], 3, axis=2)
    unsure = heat(result.uncertainty, result.image, located.mask)
    written = {}
    for name, pixels in zip(_EXTRAS, (mask, drawn, unsure), strict=True):
        beside = writer.path_beside(word, name)
        write_bytes(beside, encode_image(pixels, format="PNG"), force=writer.args.force)
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
    if not chain:
        raise UsageError("--steps names nothing to do")
    writer = Writer(args, words, lossy_warning=False)

    def one(word: str) -> dict[str, Any]:
        source = load_input(word, settings, args.frame)
        attacked = apply(source.pixels, chain, np.random.default_rng(args.seed))
        path = writer.write(word, attacked, source, alpha=False)
        if not args.json:
            print(f"{path}: {attacked.shape[1]}x{attacked.shape[0]}", file=sys.stderr)
        return {"steps": describe(chain), "outputs": {"attacked": path}}

    return for_each(words, one, args.json, "attack")
