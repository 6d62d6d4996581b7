import torch

from clr_infer import visibility


def test_what_a_residual_costs_has_a_gradient_whoever_asked_first():
    visibility._luma_and_window.cache_clear()
    original = torch.rand(1, 3, 20, 24)
    with torch.inference_mode():
        found = visibility.ssim_lost(torch.full_like(original, 0.01), original)
    residual = torch.full_like(original, 0.01, requires_grad=True)
    cost = visibility.ssim_lost(residual, original)
    cost.backward()
    assert float(cost.detach()) == float(found) > 0
    assert float(residual.grad.abs().min()) > 0
