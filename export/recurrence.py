"""GRU of a traced module → the GRU of ONNX, whose gates come in another order."""

from export.lower import Value, op


def _gates(stacked: Value) -> Value:
    """Reset, update, new → update, reset, new."""
    reset, update, new = op.Split(stacked, num_outputs=3, axis=0)
    return op.Concat(update, reset, new, axis=0)


def gru(
    x: Value, input_weight: Value, hidden_weight: Value, input_bias: Value, hidden_bias: Value
) -> Value:
    """attendant::gru: (batch, len, width) → (batch, len, hidden)."""
    first, second = op.Constant(value_ints=[0]), op.Constant(value_ints=[1])
    biases = op.Concat(_gates(input_bias), _gates(hidden_bias), axis=0)
    states, _ = op.GRU(
        op.Transpose(x, perm=[1, 0, 2]),
        op.Unsqueeze(_gates(input_weight), first),
        op.Unsqueeze(_gates(hidden_weight), first),
        op.Unsqueeze(biases, first),
        hidden_size=int(hidden_weight.shape[1]),
        linear_before_reset=1,
    )
    # (len, ways, batch, hidden)
    return op.Transpose(op.Squeeze(states, second), perm=[1, 0, 2])
