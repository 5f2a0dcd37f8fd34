$(call library,conf.c file.c expand.c value.c params.c derive.c listen.c place.c uidl.c variant.c cidr.c print.c daemon.c)
$(call unittest,test_conf,test_conf.c,conf base test)
$(call fuzzer,fuzz_conf,fuzz_conf.c,conf base)
