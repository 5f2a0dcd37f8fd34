$(call program,postern-sockets,sockets_main.c,conf os log base)
