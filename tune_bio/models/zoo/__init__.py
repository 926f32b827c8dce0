"""The model zoo: torchvision and timm."""
