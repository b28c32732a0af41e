"""requests in the shapes of other servers → our tasks: one file a surface, over the same engine."""
