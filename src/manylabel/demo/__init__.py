"""The demo: what relations between labels bring, on drawn scenes. `manylabel demo` runs it.

The demo draws scenes in which some labels depend on other labels far away in the picture. It
trains four heads on the same maps of one frozen backbone, for as many epochs each: the main net, a
plain head on both maps, attention alone, and SRN modernised. It reports the average precision of
each group of labels, and says in words what SRN gains or loses against attention alone.

The relations are far, since near relations lie within the receptive field of a deep backbone: each
position of its maps has seen the companion, too, and every head can read it there.

The modules:

    heads      the four heads, and the recipe of each
    figures    AP and pointing game by group of labels, and what is true of them in words
    run        the work, which can be stopped and resumed
"""

from manylabel.demo.run import run_demo

__all__ = ["run_demo"]
