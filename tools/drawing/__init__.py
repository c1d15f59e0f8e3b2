"""Drawing of trading cards that exist nowhere else: words, paint, scenes, creatures, motifs, symbols, layouts."""
