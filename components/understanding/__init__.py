"""Understanding of shoppers' messages: training sentences, a tagger, words of the catalogue."""
