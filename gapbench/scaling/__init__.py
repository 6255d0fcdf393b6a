"""How the gap grows with pretraining compute: points, laws, contrasts (projection.md, section 1)."""
