$(call library,files.c sock.c proc.c output.c super.c confine.c seccomp.c landlock.c memfs.c)
$(call unittest,test_os,test_os.c,os log base test)
$(call unittest,test_confine,test_confine.c,os log base test)
$(call program,postern-run,main_run.c,conf os log base)
