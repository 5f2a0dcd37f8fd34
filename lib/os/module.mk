$(call library,files.c sock.c proc.c super.c confine.c seccomp.c landlock.c)
