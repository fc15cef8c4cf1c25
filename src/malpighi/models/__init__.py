"""Networks and losses. A recipe's [model] becomes a network whose `forward` returns `Outputs`."""
