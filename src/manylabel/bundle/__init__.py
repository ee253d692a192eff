"""Bundles: a bundle is a folder with all that is needed to use a model. It contains no code.

    model.safetensors    the classifier's weights
    bundle.json          its architecture, labels, input, decision and provenance
    seen-images.bin      a short hash of each image that it was trained, validated or tuned on

Training writes a bundle. Prediction, evaluation and explanation read nothing else of a run.
`info.py` describes the content of `bundle.json`, and `bounds.py` says how much it may hold.
`seen.py` is about the list of images. `folder.py` reads and writes the files. These four work
without torch. `classifier.py` builds the network from the files.
"""
