"""Sources of images: folders, arrays, MedMNIST files, metadata tables."""
