"""``evaluate``: measure quality on photographs."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import UsageError
from ..settings import Settings
from .images import add_networks, check_numbers, open_session
from .inputs import expand_inputs, load_input

if TYPE_CHECKING:
    from ..evaluate.workers import Opener
    from ..session import Session

__all__ = ["SETS", "add_commands"]

_PROTOCOL = ("quick", "full", "limits", "targets", "copies")
SETS = (*_PROTOCOL, "strength", "refining", "ablations", "detection", "fg-jpeg")
_HELP = """what is measured: quick and full, the published conditions; limits, those at the
edge and beyond; targets, full and the limits that a target is set for; copies, images protected
with a copy of themselves; strength, the dial of protect; refining, what more steps of it bring;
ablations, parts exchanged; detection, verdicts alone on many crops, to fix a threshold; fg-jpeg,
FG-JPEG against the real codec (default: quick)"""


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add ``evaluate``."""
    text = "measure quality on photographs, with real crops and real codecs"
    evaluate = commands.add_parser("evaluate", help=text, description=text)
    evaluate.set_defaults(run=_evaluate)
    evaluate.add_argument("inputs", nargs="+", metavar="INPUT", help="files, folders or globs")
    evaluate.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")
    evaluate.add_argument("--set", choices=SETS, default="quick", help=_HELP)
    evaluate.add_argument(
        "--strength", type=float, metavar="DB", help="PSNR to protect at, as for protect"
    )
    evaluate.add_argument(
        "--refine", type=int, default=0, metavar="STEPS", help="see clr-infer protect --help"
    )
    evaluate.add_argument("--limit", type=int, metavar="N", help="only the first N images")
    evaluate.add_argument("--seed", type=int, default=0, help="of crops and noise (default: 0)")
    evaluate.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="processes; results are the same for any number, as PyTorch, whose last bits depend "
        "on its threads, takes one in each unless --threads says more (default: 1)",
    )
    evaluate.add_argument("--force", action="store_true", help="replace an earlier report")
    add_networks(evaluate)


def _check(args: argparse.Namespace) -> None:
    """Refuse numbers and combinations of options that nothing can be measured with."""
    check_numbers(args)
    for name in ("limit", "workers", "threads"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise UsageError(f"--{name} must be at least 1, not {value}")
    unused: dict[str, bool] = {}
    if args.set not in _PROTOCOL:
        unused = {"strength": args.strength is not None, "refine": args.refine != 0}
    if args.set == "fg-jpeg":
        unused |= {"url": bool(args.url), "runtime": args.runtime != "auto"}
        unused |= {"workers": args.workers != 1, "seed": args.seed != 0}
    for option in [name for name, chosen in unused.items() if chosen]:
        raise UsageError(f"--{option} goes without --set {args.set}, which makes no use of it")
    if args.url and args.workers > 1:
        raise UsageError("--url goes without --workers: the server shares its work out itself")
    if args.url and (args.refine or args.set == "refining"):
        raise UsageError("--url goes without refining, which would be measured here")


def _threads(args: argparse.Namespace) -> int | None:
    """CPU threads of each process.

    The last bits of what PyTorch computes depend on them, those of the other runtimes do not.
    """
    if args.threads is not None:
        return int(args.threads)
    if args.refine or args.set in ("refining", "ablations") or args.runtime.startswith("torch"):
        return 1
    return max(1, (os.cpu_count() or 1) // args.workers) if args.workers > 1 else None


def _opener(args: argparse.Namespace) -> "Opener | None":
    from ..evaluate.workers import Opener

    return None if args.url else Opener(args.runtime, args.weights, _threads(args))


def _evaluate(args: argparse.Namespace) -> int:
    from ..evaluate import check_folder, fg_jpeg, report

    _check(args)
    check_folder(args.output, force=args.force)
    images: list[tuple[str, np.ndarray]] = []
    for word in expand_inputs(args.inputs, recursive=False)[: args.limit]:
        images.append((Path(word).name, load_input(word, Settings(), None).pixels))
    if args.set == "fg-jpeg":
        from ..weights import Weights

        measured = fg_jpeg.evaluate_fg_jpeg(Weights(args.weights), images, threads=args.threads)
        text = fg_jpeg.fg_jpeg_markdown(measured)
        report.write_result(measured, text, args.output, force=args.force)
        print(text)
        return 0
    opener = _opener(args)
    with opener() if opener else open_session(args, Settings(), networks_only=True) as session:
        return _measure(args, session, images, opener)


def _measure(
    args: argparse.Namespace,
    session: "Session",
    images: list[tuple[str, np.ndarray]],
    opener: "Opener | None",
) -> int:
    from ..evaluate import arms, detection, evaluate, findings, report

    shared = {"seed": args.seed, "workers": args.workers, "opener": opener}
    if args.set in arms.ARM_SETS:
        result = arms.measure_arms(session, images, args.set, **shared)
        text = findings.arms_table(result)
    elif args.set == "detection":
        result = detection.measure_detection(session, images, **shared)
        text = findings.threshold_sentence(result)
    else:
        choices = {"psnr_db": args.strength, "refine": args.refine}
        done = evaluate(session, images, args.set, **choices, **shared)
        report.write_report(done, args.output, force=args.force)
        print((args.output / report.REPORT_MARKDOWN).read_text("utf-8"))
        return 0
    report.write_result(result, text, args.output, force=args.force)
    print(text)
    return 0
