"""From names to a graph: dims to values, blocks to operations, shapes checked."""
