"""What an experiment is: parameters, overrides of them, and the sets of experiments.yaml."""
