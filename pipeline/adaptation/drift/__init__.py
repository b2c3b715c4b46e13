"""Label-free drift charts whose false-alarm rate holds on a line; sensor checks, audit charts, SPC."""
