$(call unittest,test_throttle,test_throttle.c throttle.c,test base)
$(call unittest,test_cache,test_cache.c cache.c,test base)
$(call unittest,test_scram,test_scram.c scram.c,test base,-lcrypto)
