"""One file per question. `run(stage)` measures and gives one result or several."""
