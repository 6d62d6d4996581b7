"""Packaging: the top-level folders become one namespace, ``clr_infer``."""

from setuptools import setup

setup(
    packages=[
        "clr_infer",
        "clr_infer.attacks",
        "clr_infer.bench",
        "clr_infer.bench.kernels",
        "clr_infer.cli",
        "clr_infer.client",
        "clr_infer.evaluate",
        "clr_infer.export",
        "clr_infer.kernels",
        "clr_infer.kernels.reference",
        "clr_infer.networks",
        "clr_infer.runtimes",
        "clr_infer.samples",
        "clr_infer.serving",
        "clr_infer.train",
        "clr_infer.weights",
    ],
    package_dir={
        "clr_infer": "clr_infer",
        "clr_infer.kernels": "kernels",
        "clr_infer.kernels.reference": "kernels/reference",
        "clr_infer.export": "export",
    },
)
