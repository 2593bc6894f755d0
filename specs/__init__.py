"""The shipped specs: models, devices and the blocks that models share."""
