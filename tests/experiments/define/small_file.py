"""A small experiments.yaml."""

from pathlib import Path

from experiments.define.experiment_set import Experiments
from experiments.define.experiments_file import load_experiments

SMALL = """
presets:
  base: {asks: Small?, hardware: any CPU, model: {d_model: 64}, train: {steps: 10}}
sets:
  norms:
    asks: Which norm?
    base: base
    seeds: [1, 2]
    train: {batch_size: 4}
    experiments:
      rms: {asks: The usual?}
      none: {asks: Without?, model: {norm: none}, train: {steps: 20}}
  rates:
    asks: How fast?
    sweep: {train: {learning_rate: [1e-4, 0.003], batch_size: [2, 4]}}
    baseline: 0.003-2
    against: train.learning_rate
    by: train.batch_size
    metric: chat.loss
"""


def load(tmp_path: Path, text: str = SMALL) -> Experiments:
    """The sets of an experiments.yaml with that content."""
    path = tmp_path / "experiments.yaml"
    path.write_text(text)
    return load_experiments(path)
