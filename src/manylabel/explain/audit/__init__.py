"""The shortcut audit: does a label's score rest on another label that is usually beside it?

`pairs` finds each label's usual companions in the targets. `contrasts` compares images with and
without a companion. `hiding` hides the companion in the images and scores them again; `regions`
says where it is and how it is hidden. `findings` turns the figures of a pair into a verdict in
words. `run` does all of this. `page` and `tables` write the result.
"""
