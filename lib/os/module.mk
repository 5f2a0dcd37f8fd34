$(call library,files.c sock.c proc.c super.c)
