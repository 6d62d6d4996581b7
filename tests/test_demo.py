"""What the demo measures beside the recovery is measured fairly."""

import pytest

from clr_infer.demo import run_demo

CROP = "crop=0.1,0.1,0.8,0.8"


@pytest.mark.parametrize("step", ["mirror", "border=0.1"])
def test_baselines_fill_around_the_fragment_as_it_lay(session, coffee, step):
    plain, moved = (
        run_demo(session, coffee, steps, turned=step == "mirror").numbers["cropped_out_psnr_db"]
        for steps in (CROP, f"{CROP} {step}")
    )
    assert set(plain) == set(moved) and len(plain) > 4
    for name, psnr_db in plain.items():
        assert moved[name] == pytest.approx(psnr_db, abs=1.0), name
