"""Bundles: a folder with all that it takes to use a model, and nothing that can run code.

    model.safetensors    the classifier's weights
    bundle.json          its architecture, labels, input, decisions and where it comes from

Training hands a bundle to everyone else; prediction, evaluation and explanation read it alone.
`info.py` says what `bundle.json` holds, `folder.py` reads and writes the two files; both work
without torch. `classifier.py` builds the network from them.
"""
