$(call library,auth.c spf.c spf_parse.c spf_macro.c)
$(call unittest,test_spf,test_spf.c test_zone.c,authres dns conf base test)
$(call fuzzer,fuzz_spf,fuzz_spf.c test_zone.c,authres dns conf base)
