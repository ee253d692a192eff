"""What a model learned about labels that go together, and what its units look for.

`observe` runs the images once and keeps samples of their maps. `cooccurrence` and `places` measure
the data: which labels occur together, and where their boxes lie. `interventions` changes the maps
of a label and measures what other labels' logits do. `units` says what the units follow. `measure`
does all of it, `table` and `page` show it.
"""
