"""Scripts of the workstation: draw, train, build, evaluate, measure, push."""
