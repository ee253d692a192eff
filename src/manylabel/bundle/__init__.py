"""Bundles: a bundle is a folder with all that is needed to use a model. It contains no code.

    model.safetensors    the classifier's weights
    bundle.json          its architecture, labels, input, decision and provenance

Training writes a bundle. Prediction, evaluation and explanation read nothing else of a run.
`info.py` describes the content of `bundle.json`, and `bounds.py` says how much it may hold.
`folder.py` reads and writes the two files. These three work without torch. `classifier.py` builds
the network from the files.
"""
