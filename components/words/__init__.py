"""Words of a text, in every language: normalisation, segmentation, stems, stop words, languages.

In: texts of products and queries. Out: their words, by one analyser. ``Words``
of ``analyser.py`` is what the stages and the server use.
"""
