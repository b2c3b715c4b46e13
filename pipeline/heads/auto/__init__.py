"""`head: auto`: several heads judged out of fold, blended, and given an unlabelled pool where that wins."""
