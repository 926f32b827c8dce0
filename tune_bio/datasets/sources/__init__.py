"""Image sources: folders, arrays, MedMNIST files and metadata tables."""
