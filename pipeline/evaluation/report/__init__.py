"""What someone takes to a meeting after 100 to 200 labelled images: figures, and one HTML page that shows them."""
