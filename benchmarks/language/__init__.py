"""Language models, beside the same networks in PyTorch."""
