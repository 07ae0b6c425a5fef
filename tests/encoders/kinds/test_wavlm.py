"""What WavLM alone has: attention with a bias of positions, in two forms."""

import torch

from pipeline.encoders.kinds import wavlm


def test_the_attention_of_a_gpu_is_that_of_a_cpu() -> None:
    """Its operation alone, on a CPU: no GPU is needed to see that bias and scale are the same."""
    q, k, v = torch.randn(3, 2, 4, 9, 8).unbind()
    bias = torch.randn(2, 4, 9, 9)
    bias[1, :, :, 5:] = -torch.inf
    found = wavlm.fused(q, k, v, bias, 0.0)
    torch.testing.assert_close(found, wavlm.exact(q, k, v, bias, 0.0))
