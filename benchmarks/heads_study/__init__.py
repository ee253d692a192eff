"""Every head on the same backbones, the same photographs and the same drawn scenes."""
