$(call library,pcre.c cdbfile.c cdbwrite.c accounts.c source.c lookup.c)
$(call unittest,test_map,test_map.c,map conf os log base test)
$(call fuzzer,fuzz_cdb,fuzz_cdb.c,map conf os log base)
$(call fuzzer,fuzz_source,fuzz_source.c,map base)
