"""The only place where rooms meet: project, wiring, step, pipeline, runner, loop."""
