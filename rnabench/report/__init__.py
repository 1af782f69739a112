"""Records, and what is drawn from them: tables, figures, sentences, comparisons, the page. No torch."""
