"""sequence → the states of a GRU, which a graph holds as one operator.

Source: Cho et al. 2014, "Learning Phrase Representations using RNN Encoder-Decoder", as torch and
ONNX have it: the reset gate acts after the product with the state.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn


@torch.library.custom_op("attendant::gru", mutates_args=())
def _gru(
    x: Tensor,
    input_weight: Tensor,
    hidden_weight: Tensor,
    input_bias: Tensor,
    hidden_bias: Tensor,
) -> Tensor:
    first = x.new_zeros(1, x.shape[0], hidden_weight.shape[1])
    weights = [input_weight, hidden_weight, input_bias, hidden_bias]
    states: Tensor = torch.gru(x, first, weights, True, 1, 0.0, False, False, True)[0]
    return states


@_gru.register_fake
def _(
    x: Tensor,
    input_weight: Tensor,  # noqa: ARG001
    hidden_weight: Tensor,
    input_bias: Tensor,  # noqa: ARG001
    hidden_bias: Tensor,  # noqa: ARG001
) -> Tensor:
    return x.new_empty(*x.shape[:2], hidden_weight.shape[1])


class GRU(nn.GRU):
    """One layer, one way, from a state of zeros.

    torch's own has a backward, and is traced as a loop of as many turns as the traced sequence has;
    so it serves training, and the operator everything else.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__(width, hidden, batch_first=True)

    def forward(  # type: ignore[override]
        self, x: Float[Tensor, "batch len width"]
    ) -> Float[Tensor, "batch len hidden"]:
        if self.training:
            return super().forward(x)[0]
        states: Tensor = _gru(
            x, self.weight_ih_l0, self.weight_hh_l0, self.bias_ih_l0, self.bias_hh_l0
        )
        return states
