"""Generation of fictional trading cards: words, paint, scenes, creatures, motifs, symbols, layouts."""
